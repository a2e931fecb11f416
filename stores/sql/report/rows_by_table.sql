-- rows_by_table.sql: rows of a run, by table.
-- In: $run_id. Out: name, rows; in the order in which a run writes them.
SELECT 'prompts' AS name, count(*) AS rows, 1 AS place FROM run_prompts WHERE run_id = $run_id
UNION ALL SELECT 'calls', count(*), 2 FROM calls WHERE run_id = $run_id
UNION ALL SELECT 'responses', count(*), 3 FROM responses WHERE run_id = $run_id
UNION ALL SELECT 'judgements', count(*), 4 FROM judgements WHERE run_id = $run_id
UNION ALL SELECT 'trees', count(*), 5 FROM trees WHERE run_id = $run_id
UNION ALL SELECT 'nodes', count(*), 6 FROM nodes WHERE run_id = $run_id
UNION ALL SELECT 'pairs', count(*), 7 FROM pairs WHERE run_id = $run_id
ORDER BY place;
