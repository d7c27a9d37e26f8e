"""Damaged input, by the thousand: python -m benchmarks.fuzz"""
