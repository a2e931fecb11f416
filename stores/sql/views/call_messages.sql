-- call_messages.sql: every answered call's messages, rendered from the rows that they were made of.
-- Out: call_id, template, messages_hash (as sent), messages. sha256(to_json(messages)) is messages_hash again.
CREATE VIEW call_messages AS
SELECT c.call_id, c.run_id, c.template, c.messages_hash,
  CASE
    WHEN c.template IS NULL THEN p.messages
    WHEN c.template = 'evolve' THEN [user_turn(render(t.templates['evolve'], conversation(p.messages), NULL))]
    WHEN c.template = 'judge'
      THEN [user_turn(render(t.templates['judge'], conversation(p.messages), r.text))]
    WHEN c.template = 'refine'
      THEN refine_turns(t.templates['judge'], t.templates['refine'], conversation(p.messages), r.text, j.critique)
  END AS messages
FROM calls AS c
JOIN current_runs AS t USING (run_id)
JOIN prompts AS p USING (prompt_id)
LEFT JOIN responses AS r ON r.response_id = c.response_id
LEFT JOIN (SELECT DISTINCT call_id, critique_judgement_id FROM nodes WHERE call_id IS NOT NULL) AS n
  ON n.call_id = c.call_id AND c.template = 'refine'
LEFT JOIN judgements AS j ON j.judgement_id = n.critique_judgement_id
WHERE c.error IS NULL;
