"""The command line: arguments in, tables out.

Commands hold no logic of their own: each parses its arguments, calls the room that knows, and prints. Heavy imports
happen inside the commands, so that ``podwire --help`` answers at once.
"""
