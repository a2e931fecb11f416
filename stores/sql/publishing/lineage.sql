-- lineage.sql: the ids of the rows that a training set's rows rest on: all that its runs did with its prompts.
-- In: the set's prompts as `published_prompts` (prompt_id). Out: the ancestors of evolved prompts among them, and themselves.
WITH RECURSIVE family AS (
  SELECT prompt_id, evolved_from FROM prompts WHERE prompt_id IN (SELECT prompt_id FROM published_prompts)
  UNION
  SELECT p.prompt_id, p.evolved_from FROM prompts AS p JOIN family ON p.prompt_id = family.evolved_from
)
SELECT prompt_id
FROM family
ORDER BY prompt_id;
