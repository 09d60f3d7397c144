"""Process-wide state: the import of TensorFlow, training workers, BLAS threads.

This package may import `_sklearn_compat` and `_version`. Its main function is `import_tensorflow`
in `tensorflow`.
"""
