"""What a run asks its models before it pays for anything."""

from collections.abc import Mapping

from factory.inference.endpoints import Endpoint, Sampling
from factory.inference.failures import Failure
from factory.recipes.recipe import Recipe
from factory.work.insisting import ALTERNATIVES, insist
from schemas.tables import Message

_ONE_TOKEN = Sampling(temperature=0, top_p=1, max_tokens=1, n=1, **ALTERNATIVES)


async def check_logprobs(recipe: Recipe, endpoints: Mapping[str, Endpoint]) -> None:
    """Asks each server of a model whose log-probabilities a stage requires for one token, which no row keeps.

    A request that fails tells nothing about them: the run meets the same trouble, and reports it.

    Raises:
        FactoryError: a server returns none.
    """
    insisting = {role: entry for entry in recipe.stages if (role := entry.settings.insists_on()) is not None}
    for role, entry in insisting.items():
        endpoint = endpoints[role]
        for server in endpoint.servers:
            try:
                choices, _, _ = await server.send(endpoint.body([Message("user", "Hello")], _ONE_TOKEN, 0))
            except Failure:
                continue
            insist(
                choices, "required", f"judge {entry.judge_name}" if entry.stage == "judge" else f"stage {entry.name}"
            )
