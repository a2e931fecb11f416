-- forget_set_aside.sql: makes the prompts that a run has set aside pending again. Snapshots from before keep these rows.
-- In: $run_id. Removes calls without an answer, and the trees without an accepted node that a refusal cut short.
DELETE FROM nodes
WHERE run_id = $run_id
  AND tree_id IN (SELECT tree_id FROM trees WHERE run_id = $run_id AND error IS NOT NULL AND outcome <> 'accepted');
DELETE FROM trees WHERE run_id = $run_id AND error IS NOT NULL AND outcome <> 'accepted';
DELETE FROM calls WHERE run_id = $run_id AND error IS NOT NULL;
