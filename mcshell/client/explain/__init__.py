"""Why a node is silent: evidence is gathered, causes are named."""
