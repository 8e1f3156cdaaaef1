"""How each kind of host asks for a token and is answered: parsing and writing, nothing decided."""
