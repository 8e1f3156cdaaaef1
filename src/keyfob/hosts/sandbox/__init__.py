"""`keyfob run`: a program in a network of its own, in which Azure's addresses and names lead to Keyfob.

The client (`run.py`) creates the namespaces, binds the listening sockets inside them and hands them to the server
over the control socket (`control.py`); the server answers on them until the program ends. Importing this package
costs nothing: take `run.run_in_sandbox` on the client's side and `control.SandboxControl` on the server's.
"""
