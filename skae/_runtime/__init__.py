"""What belongs to the whole process: TensorFlow's import, workers, the threads of BLAS.

May import `_sklearn_compat` and `_version`.
Start with `import_tensorflow` in `tensorflow`.
"""
