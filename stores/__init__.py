"""Where rows live and how they are asked for: DuckLake, its SQL, training sets. Knows `schemas` only."""
