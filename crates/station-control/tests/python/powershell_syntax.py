"""Reads PowerShell scripts, a JSON list on standard input, with tree-sitter's grammar: one line each, `ok` or what is wrong."""

import json
import sys

import tree_sitter
import tree_sitter_powershell

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))


def problems(node):
    if node.is_error or node.is_missing:
        row, column = node.start_point
        yield f"{row + 1}:{column + 1} {node.type}"
    for child in node.children:
        yield from problems(child)


for script in json.load(sys.stdin):
    found = list(problems(PARSER.parse(script.encode()).root_node))
    print(", ".join(found) or "ok")
