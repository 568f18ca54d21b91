"""Code completion on whole files: CodeXGLUE's PY150 and JavaCorpus as GREEN-CODE measures them."""
