"""Why two sides differ at a node: mechanisms that reproduce what was got, bit for bit or within a stated bound."""
