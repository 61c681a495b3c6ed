"""Why a node is silent."""
