"""Plans: steps across nodes with gates between them."""
