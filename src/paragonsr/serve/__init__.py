"""Local web page: drop an image, choose a model, compare, download.

It uses Python's HTTP server and one HTML file: Gradio would bring sixty packages for a picture, a list and a slider.
"""
