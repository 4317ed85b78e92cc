"""Architectures, one a file; a model's name is its file's name. Each builds a network with fresh or
pretrained weights for a number of classes and an image size.
"""
