"""The commands, each with its parser and what it runs; `cli` only wires them."""
