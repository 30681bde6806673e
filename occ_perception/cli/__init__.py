"""The `occ` command: one module per subcommand, imported only when it is asked for.

A subcommand module has add_arguments(parser) and run(arguments) -> exit code; its summary stands in main.SUBCOMMANDS.
"""
