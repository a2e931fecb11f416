-- flawed_accepted.sql: trees of a search that may accept an answer with a flaw (`accept_flawed`). Out: tree_id.
CREATE TEMP VIEW flawed_accepted AS
SELECT tree_id FROM trees WHERE contains(parameters, '"accept_flawed":true');
