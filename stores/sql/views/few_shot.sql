-- few_shot.sql: the examples that a stage evolve showed for a prompt (`how: new`): the prompt and those that follow it in
-- example_order, as many as its setting `examples` says. Out: one row per run, stage and given prompt: examples, as text.
CREATE TEMP VIEW few_shot AS
SELECT run_id, stage, prompt_id,
  string_agg(concat('[Instruction ', number + 1, ']', chr(10), conversation(messages), chr(10), '[End of instruction ', number + 1, ']'),
    chr(10) || chr(10) ORDER BY number) AS examples
FROM (
  SELECT o.run_id, s.stage, o.prompt_id, number, (o.place + number) % o.prompts AS place
  FROM example_order AS o
  JOIN (
    SELECT run_id, stage->>'name' AS stage, unnest(range(least((stage->>'examples')::BIGINT, 64))) AS number
    FROM (SELECT run_id, unnest(from_json(if(json_valid(recipe), recipe->'stages', NULL), '["JSON"]')) AS stage FROM current_runs)
    WHERE (stage->>'stage') = 'evolve' AND (stage->>'how') = 'new'
  ) AS s USING (run_id)
) AS shown
JOIN (SELECT run_id, place, prompt_id AS example_id FROM example_order) USING (run_id, place)
JOIN (SELECT prompt_id AS example_id, messages FROM prompts) USING (example_id)
GROUP BY run_id, stage, prompt_id;
