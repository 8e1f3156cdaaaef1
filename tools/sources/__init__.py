"""Where each generated file comes from: one module per subject, each with `files(reference)`."""
