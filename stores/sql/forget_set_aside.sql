-- forget_set_aside.sql: makes the prompts that a run has set aside pending again. Snapshots from before keep these rows.
-- In: $run_id. Removes calls without an answer, those beside them that no row is made of, and the trees without an accepted
-- node that a refusal cut short. Answered calls come back from the journal.
DELETE FROM nodes
WHERE run_id = $run_id
  AND tree_id IN (SELECT tree_id FROM trees WHERE run_id = $run_id AND error IS NOT NULL AND outcome <> 'accepted');
DELETE FROM trees WHERE run_id = $run_id AND error IS NOT NULL AND outcome <> 'accepted';
DELETE FROM calls
WHERE run_id = $run_id
  AND stage NOT IN (SELECT stage FROM trees WHERE run_id = $run_id)
  AND (prompt_id, stage) IN (SELECT (prompt_id, stage) FROM calls WHERE run_id = $run_id AND error IS NOT NULL)
  AND call_id NOT IN (
    SELECT call_id FROM responses WHERE run_id = $run_id AND call_id IS NOT NULL
    UNION ALL SELECT call_id FROM judgements WHERE run_id = $run_id AND call_id IS NOT NULL
    UNION ALL SELECT call_id FROM comparisons WHERE run_id = $run_id
    UNION ALL SELECT unnest(call_ids) FROM claims WHERE run_id = $run_id
    UNION ALL SELECT call_id FROM checklist_items WHERE run_id = $run_id AND call_id IS NOT NULL
    UNION ALL SELECT call_id FROM meta_judgements WHERE run_id = $run_id
  );
DELETE FROM calls WHERE run_id = $run_id AND error IS NOT NULL;
