"""The program of an exported model; :mod:`harness.publication.exported_program` makes one file of it.

It imports torch, numpy and nibabel only.
"""
