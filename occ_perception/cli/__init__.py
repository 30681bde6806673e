"""The `occ` command: one module per subcommand, imported only when it is asked for.

A subcommand module has SUMMARY (one line), add_arguments(parser) and run(arguments) -> exit code.
"""
