"""Where rows live and how they are queried: DuckLake, SQL, pairings, training sets. Imports only `schemas`."""
