"""A web page on this machine: drop an image, choose a model, compare, download.

Python's own HTTP server and one HTML file: Gradio would bring sixty packages for a picture, a list and a slider.
"""
