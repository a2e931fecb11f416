-- prompt_checklist.sql: the checklists of a prompt, and how well its answers meet each item. In: $prompt_id. Out: one row per item,
-- answer and judge (NULL: nobody has judged by the item), in the order of the checklist.
SELECT i.run_id, i.stage, i.position, i.text AS item, i.weight, s.response_id, s.judge, s.value
FROM (FROM checklist_items WHERE prompt_id = $prompt_id) AS i
LEFT JOIN (FROM item_scores WHERE prompt_id = $prompt_id) AS s USING (item_id)
ORDER BY i.run_id, i.stage, i.position, s.judge, s.response_id;
