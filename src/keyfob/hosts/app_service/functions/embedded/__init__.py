"""The embedded Functions host: runs the Python functions of one app, inside that app's sandbox.

It is started by the app's own Python, with the app's own packages, so it imports the standard library,
`azure.functions` as the app brings it, and itself: nothing else of this project. `python -m` finds it by whatever name
it is shown under.
"""
