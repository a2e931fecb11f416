-- references.sql: rows that name a row that is not there; trees and pairs have queries of their own.
-- In:  nothing.  Out: table_name, id, run_id (NULL: of no run), fault.
SELECT 'run_prompts' AS table_name, run_prompt_id AS id, run_id, 'names a prompt that is not there' AS fault
FROM run_prompts ANTI JOIN prompts USING (prompt_id)
UNION ALL
SELECT 'prompts', p.prompt_id, NULL, 'was evolved from a prompt that is not there'
FROM prompts AS p ANTI JOIN prompts AS o ON o.prompt_id = p.evolved_from WHERE p.evolved_from IS NOT NULL
UNION ALL
SELECT 'calls', call_id, run_id, 'names a prompt that is not there' FROM calls ANTI JOIN prompts USING (prompt_id)
UNION ALL
SELECT 'calls', call_id, run_id, 'names a model that is not there' FROM calls ANTI JOIN models USING (model_id)
UNION ALL
SELECT 'responses', response_id, run_id, 'names a prompt that is not there'
FROM responses ANTI JOIN prompts USING (prompt_id)
UNION ALL
SELECT 'responses', response_id, run_id, 'names a call that is not there'
FROM responses ANTI JOIN calls USING (call_id) WHERE call_id IS NOT NULL
UNION ALL
SELECT 'responses', response_id, run_id, 'names a model that is not there'
FROM responses ANTI JOIN models USING (model_id) WHERE model_id IS NOT NULL
UNION ALL
SELECT 'judgements', judgement_id, run_id, 'names a response that is not there'
FROM judgements ANTI JOIN responses USING (response_id)
UNION ALL
SELECT 'judgements', judgement_id, run_id, 'names a call that is not there'
FROM judgements ANTI JOIN calls USING (call_id) WHERE call_id IS NOT NULL
UNION ALL
SELECT 'comparisons', comparison_id, run_id, 'names a response that is not there'
FROM comparisons AS c ANTI JOIN responses AS r ON r.response_id = c.first_response_id
UNION ALL
SELECT 'comparisons', comparison_id, run_id, 'names a response that is not there'
FROM comparisons AS c ANTI JOIN responses AS r ON r.response_id = c.second_response_id
UNION ALL
SELECT 'comparisons', comparison_id, run_id, 'names a call that is not there' FROM comparisons ANTI JOIN calls USING (call_id)
UNION ALL
SELECT 'judgements', judgement_id, run_id, 'names a checklist item that is not there'
FROM judgements ANTI JOIN checklist_items USING (item_id) WHERE item_id IS NOT NULL
UNION ALL
SELECT 'claims', claim_id, run_id, 'names a response that is not there' FROM claims ANTI JOIN responses USING (response_id)
UNION ALL
SELECT 'claims', claim_id, c.run_id, 'names a call that is not there'
FROM (SELECT claim_id, run_id, unnest(call_ids) AS call_id FROM claims) AS c ANTI JOIN calls USING (call_id)
UNION ALL
SELECT 'claims', claim_id, run_id, 'names a document that is not there'
FROM (SELECT claim_id, run_id, unnest(evidence).document_id AS document_id FROM claims) AS c ANTI JOIN documents USING (document_id)
WHERE document_id IS NOT NULL
UNION ALL
SELECT 'checklist_items', item_id, run_id, 'names a prompt that is not there'
FROM checklist_items ANTI JOIN prompts USING (prompt_id)
UNION ALL
SELECT 'checklist_items', item_id, i.run_id, 'names a call that is not there'
FROM checklist_items AS i ANTI JOIN calls USING (call_id) WHERE call_id IS NOT NULL
UNION ALL
SELECT 'meta_judgements', meta_judgement_id, m.run_id, 'names a judgement that is not there'
FROM meta_judgements AS m ANTI JOIN judgements AS j ON j.judgement_id = m.first_judgement_id
UNION ALL
SELECT 'meta_judgements', meta_judgement_id, m.run_id, 'names a judgement that is not there'
FROM meta_judgements AS m ANTI JOIN judgements AS j ON j.judgement_id = m.second_judgement_id
UNION ALL
SELECT 'trees', tree_id, run_id, 'has a root response that is not there'
FROM trees AS t ANTI JOIN responses AS r ON r.response_id = t.root_response_id
UNION ALL
SELECT 'nodes', node_id, run_id, 'names a response that is not there'
FROM nodes ANTI JOIN responses USING (response_id) WHERE response_id IS NOT NULL
UNION ALL
SELECT 'nodes', node_id, run_id, 'names a judgement that is not there'
FROM nodes AS n ANTI JOIN judgements AS j ON j.judgement_id = n.critique_judgement_id
WHERE critique_judgement_id IS NOT NULL
UNION ALL
SELECT 'checks', check_id, run_id, 'names a response that is not there' FROM checks ANTI JOIN responses USING (response_id)
UNION ALL
SELECT 'training_runs', training_run_id, NULL, 'names a training set that is not there'
FROM training_runs ANTI JOIN training_sets USING (training_set_id)
UNION ALL
SELECT 'training_runs', training_run_id, NULL, 'names a start that is not there'
FROM training_runs AS t ANTI JOIN models AS m ON m.model_id = t.start_model_id WHERE start_model_id IS NOT NULL
UNION ALL
SELECT 'models', model_id, NULL, 'names a training that is not there'
FROM models ANTI JOIN training_runs USING (training_run_id) WHERE training_run_id IS NOT NULL
UNION ALL
SELECT 'evaluations', evaluation_id, run_id, 'names a model that is not there'
FROM evaluations ANTI JOIN models USING (model_id)
UNION ALL
SELECT 'reviews', review_id, run_id, 'names a pair that is not there' FROM reviews ANTI JOIN pairs USING (pair_id)
UNION ALL
SELECT 'reviews', review_id, v.run_id, 'names an edited pair that is not there'
FROM reviews AS v ANTI JOIN pairs AS p ON p.pair_id = v.edited_pair_id WHERE edited_pair_id IS NOT NULL
UNION ALL
SELECT 'reruns', rerun_id, NULL, 'names a training that is not there'
FROM reruns ANTI JOIN training_runs USING (training_run_id) WHERE training_run_id IS NOT NULL
ORDER BY table_name, id;
