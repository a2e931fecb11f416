-- A model's ancestry. In: $model VARCHAR = ''.
FROM family
WHERE starts_with(model_id, $model)
ORDER BY ALL
LIMIT 500;
