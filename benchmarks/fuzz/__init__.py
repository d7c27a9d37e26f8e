"""Fuzzing of all readers with damaged input: python -m benchmarks.fuzz"""
