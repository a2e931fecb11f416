-- prompts.sql: where each row's prompt came from.
-- In: the set's rows as `audited`. Out: one row per row, in order; NULL: unknown. kinds: those of its constraints; task: the
-- prompt as the actor got it, for a refiner's own prompts are mostly template; task_asked: its last user turn.
SELECT a.row, conversation(q.messages) AS task,
  list_filter(q.messages, lambda m: m.role = 'user')[-1].content AS task_asked, q.source, q.licence, list_sort(list_distinct(list_transform(q.constraints, lambda c: c.id))) AS kinds
FROM audited AS a
LEFT JOIN prompts AS q USING (prompt_id)
ORDER BY a.row;
