"""What the documentation site is built with: MkDocs calls ``hooks``; nothing of it is part of the package."""
