-- run_templates.sql: the templates of each run. One row per run and template; hash: as in judgements.template_hash.
CREATE TEMP VIEW run_templates AS
SELECT run_id, entry.key AS name, entry.value AS text, sha256(entry.value) AS hash
FROM (SELECT run_id, unnest(map_entries(templates)) AS entry FROM current_runs);
