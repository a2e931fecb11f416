"""Claims where people look: pages of pairs, answers, calls and the corpus; the lineage that is published; a rerun."""
