"""Programs for machines where the package cannot be installed: they need numpy, and the recorder one runtime."""
