"""What the server itself keeps true: dependents go with their owners, namespaces are emptied, old Events expire.

Level-triggered: each works off keys that may need attention, looks at what is stored, and finds the same work again
after a restart.
"""
