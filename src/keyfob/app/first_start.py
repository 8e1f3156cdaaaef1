"""What a store holds before anybody asked for anything: a tenant, a subscription, an operator that owns everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from keyfob.access.assignments import assign
from keyfob.app.folder import OperatorFile
from keyfob.arm.resources import SUBSCRIPTIONS
from keyfob.arm.subscriptions import ensure_subscription
from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.directory.first_party import FirstParty
from keyfob.directory.keys import KeyRing
from keyfob.directory.model import Tenant
from keyfob.directory.principals import GLOBAL_ADMINISTRATOR, give_directory_role
from keyfob.directory.seal import WrongMasterKey
from keyfob.directory.tenants import Operator, ensure_first_start
from keyfob.resource_id import ROOT
from keyfob.settings import Settings
from keyfob.store.port import Store, Transaction

OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"


async def load_keys(keys: KeyRing, settings: Settings) -> None:
    """Of nodes that start together on an empty database one makes the keys: the others need its master key, and its
    authority and operator too. Raises `WrongMasterKey`, saying what to copy."""
    try:
        await keys.load()
    except WrongMasterKey as error:
        if not settings.database:
            sentence = f"put {settings.master_key_file} back from your copy; without it the database cannot be used."
        else:
            sentence = (
                "copy master.key, operator.json and the folder ca from the data folder of the node that started first "
                f"to {settings.data}, and start this one again."
            )
        raise WrongMasterKey(f"The database was written with another master key: {sentence}") from error


async def first_start(
    store: Store,
    settings: Settings,
    *,
    clouds: Mapping[str, Cloud],
    first_party: Sequence[FirstParty],
    namespaces: Sequence[str],
    clock: Clock,
    ids: Ids,
    save: Callable[[OperatorFile], None],
) -> None:
    """`save` gets the operator's credentials when this start makes them, before they are committed: the secret cannot
    be read again, so a start that fails in between leaves a file that the next one overwrites, never an operator
    whose secret nobody has."""
    now = clock.now()
    async with store.transaction() as tx:
        tenant, operator = await ensure_first_start(
            tx,
            clouds=clouds,
            first_party=first_party,
            clock=clock,
            ids=ids,
            cloud=settings.cloud,
            password_grant=settings.password_grant,
        )
        if operator is None:
            return
        subscription_id = await make_home(tx, tenant, operator, namespaces=namespaces, now=now, ids=ids)
        save(operator_file(clouds[tenant.cloud], operator, subscription_id))


async def make_home(
    tx: Transaction, tenant: Tenant, operator: Operator, *, namespaces: Sequence[str], now: float, ids: Ids
) -> str:
    """A subscription of the tenant with every provider registered, and the operator as owner of all: of the
    subscriptions by role assignment, of the directory as Global Administrator. Gives its id."""
    made = await ensure_subscription(
        tx, subscription_id=ids.guid(), tenant_id=tenant.id, cloud=tenant.cloud, display_name="Keyfob", now=now
    )
    registered = msgspec.structs.replace(made, registrations={name.lower(): True for name in namespaces})
    await SUBSCRIPTIONS.put(tx, made.id, registered)
    await assign(
        tx, tenant_id=tenant.id, scope=ROOT, principal_id=operator.object_id, role_definition_id=OWNER, now=now
    )
    await give_directory_role(tx, tenant.id, GLOBAL_ADMINISTRATOR, operator.object_id)
    return made.id


def operator_file(cloud: Cloud, operator: Operator, subscription_id: str) -> OperatorFile:
    return OperatorFile(
        cloud=cloud.name,
        login=cloud.login,
        resource_manager=cloud.resource_manager,
        audience=cloud.management_audience,
        tenant_id=operator.tenant_id,
        subscription_id=subscription_id,
        client_id=operator.app_id,
        object_id=operator.object_id,
        client_secret=operator.secret,
    )
