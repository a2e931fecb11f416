-- render.sql: macros that render a prompt template as `factory/templates/rendering.py` does, in one pass.
CREATE TEMP MACRO conversation(messages) AS
  -- A prompt as the judge sees it: a single user turn as it is, a longer conversation with roles.
  CASE WHEN len(messages) = 1 THEN messages[1].content
  ELSE array_to_string(list_transform(messages, lambda m: '[' || m.role || ']' || chr(10) || m.content), chr(10) || chr(10))
  END;
CREATE TEMP MACRO render(template, given) AS
  -- given: MAP from placeholder to text; placeholders inside the texts are not replaced.
  array_to_string(list_transform(
    regexp_extract_all(template, '\{(?:prompt|response|critique|reference|first|second|item|examples|claim|passages|question)\}|[^{]+|\{'),
    lambda part: CASE WHEN part IN ('{prompt}', '{response}', '{critique}', '{reference}', '{first}', '{second}', '{item}', '{examples}',
      '{claim}', '{passages}', '{question}')
      THEN coalesce(given[part[2:-2]], '') ELSE part END), '');
CREATE TEMP MACRO user_turn(text) AS {'role': 'user', 'content': text};
CREATE TEMP MACRO assistant_turn(text) AS {'role': 'assistant', 'content': text};
CREATE TEMP MACRO refine_turns(judge_template, refine_template, prompt, response, critique) AS
  -- A refiner's messages: one turn if its template contains the critique, else the dialogue judge, critique, refine.
  CASE WHEN contains(refine_template, '{critique}')
    THEN [user_turn(render(refine_template, MAP {'prompt': prompt, 'response': response, 'critique': critique}))]
  ELSE [
    user_turn(render(judge_template, MAP {'prompt': prompt, 'response': response})), assistant_turn(critique),
    user_turn(render(refine_template, MAP {'prompt': prompt, 'response': response}))]
  END;
CREATE TEMP MACRO split_of(prompt_id, held_out) AS
  -- Only by the prompt's hash: a prompt is on the same side in every training set.
  CASE WHEN ('0x' || substr(sha256(prompt_id), 1, 8))::BIGINT / 4294967296.0 < held_out THEN 'held_out' ELSE 'train' END;
