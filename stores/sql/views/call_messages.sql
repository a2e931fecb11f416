-- call_messages.sql: every answered call's messages, rendered from rows.
-- Out: call_id, template, messages_hash (as sent), messages. sha256(to_json(messages)) equals messages_hash.
CREATE TEMP VIEW call_messages AS
WITH critiques AS (
  -- All nodes of a call were refined from the same text.
  SELECT call_id, min(critique_judgement_id) AS judgement_id FROM nodes WHERE call_id IS NOT NULL GROUP BY call_id
), items AS (
  SELECT DISTINCT j.call_id, i.text FROM judgements AS j JOIN checklist_items AS i USING (item_id) WHERE j.item_id IS NOT NULL
), judged AS (
  SELECT m.call_id, any_value(first.critique) AS first, any_value(second.critique) AS second
  FROM meta_judgements AS m
  JOIN judgements AS first ON first.judgement_id = first_judgement_id
  JOIN judgements AS second ON second.judgement_id = second_judgement_id
  GROUP BY m.call_id
), claimed AS (
  -- Equal claims share a call, and so do claims with the same question.
  SELECT call_id, min(text) AS text, min(question) AS question, any_value(passages) AS passages
  FROM (
    SELECT unnest(call_ids) AS call_id, text, question,
      array_to_string(list_transform(evidence, lambda e, number: '[' || number || '] ' || e.text), chr(10) || chr(10)) AS passages
    FROM claims
  )
  GROUP BY call_id
), judging AS (SELECT run_id, hash, any_value(text) AS text FROM run_templates GROUP BY ALL)
SELECT c.call_id, c.run_id, c.template, c.messages_hash,
  CASE
    -- A reward model reads the conversation with the answer.
    WHEN c.template IS NULL THEN p.messages || if(first.text IS NULL, [], [assistant_turn(first.text)])
    WHEN j.critique IS NOT NULL
      THEN refine_turns(coalesce(judging.text, usual.text), asked.text, conversation(p.messages), first.text, j.critique)
    ELSE [user_turn(render(asked.text, MAP {'prompt': conversation(p.messages), 'response': first.text,
      'first': coalesce(judged.first, first.text), 'second': coalesce(judged.second, second.text), 'reference': p.reference,
      'item': items.text, 'examples': few_shot.examples,
      'claim': claim.text, 'passages': claim.passages, 'question': claim.question}))]
  END AS messages
FROM calls AS c
JOIN prompts AS p USING (prompt_id)
LEFT JOIN run_templates AS asked ON asked.run_id = c.run_id AND asked.name = c.template
LEFT JOIN responses AS first ON first.response_id = c.response_ids[1]
LEFT JOIN responses AS second ON second.response_id = c.response_ids[2]
LEFT JOIN items ON items.call_id = c.call_id
LEFT JOIN judged ON judged.call_id = c.call_id
LEFT JOIN few_shot ON few_shot.run_id = c.run_id AND few_shot.stage = c.stage AND few_shot.prompt_id = c.prompt_id
LEFT JOIN claimed AS claim ON claim.call_id = c.call_id
LEFT JOIN critiques AS n ON n.call_id = c.call_id
LEFT JOIN judgements AS j USING (judgement_id)
LEFT JOIN judging ON judging.run_id = c.run_id AND judging.hash = j.template_hash
LEFT JOIN run_templates AS usual ON usual.run_id = c.run_id AND usual.name = 'judge'
WHERE c.error IS NULL;
