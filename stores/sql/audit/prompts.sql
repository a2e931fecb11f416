-- prompts.sql: where each row's prompt came from.
-- In: the set's rows as `audited`. Out: one row per row, in order; NULL: unknown. kinds: those of its constraints; task: the
-- prompt as the actor got it, for a refiner's own prompts are mostly template.
SELECT a.row, conversation(q.messages) AS task, q.source, q.licence, list_sort(list_distinct(list_transform(q.constraints, lambda c: c.id))) AS kinds
FROM audited AS a
LEFT JOIN prompts AS q USING (prompt_id)
ORDER BY a.row;
