"""gdapi-python and cattle, Rancher's own schema-driven clients, against one URL: `schema_driven.py URL`, with a key of an account's, and
`ENVIRONMENT_ACCESS_KEY` and `ENVIRONMENT_SECRET_KEY` of environment 1a5. What is not as they expect ends it."""

import os
import sys

import cattle
import gdapi

url = sys.argv[1]


def client(factory, path, prefix):
    return factory(
        url=url + path,
        access_key=os.environ[prefix + "ACCESS_KEY"],
        secret_key=os.environ[prefix + "SECRET_KEY"],
        cache=False,
    )


def refused(status, call):
    try:
        call()
    except gdapi.ApiError as error:
        assert error.error.type == "error", error.error
        assert error.error.status == status, error.error
    else:
        raise AssertionError(f"expected {status}")


def lifecycle(account):
    key = account.create_api_key(name="gdapi", description="made by its schema", publicValue="IGNORED")
    assert key.state == "registering" and len(key.publicValue) == 20 and len(key.secretValue) == 40, key
    assert key.links.self.startswith(url), "links lead back to the one URL"
    key = account.wait_success(key) if hasattr(account, "wait_success") else account.reload(key)
    assert key.state == "active" and key.secretValue is None, key
    key = account.update(key, name="renamed", state="removed")
    key = account.reload(key)
    assert key.name == "renamed" and key.description == "made by its schema" and key.state == "active", key
    assert key.id in [other.id for other in account.list_api_key(name="renamed")]
    refused(405, lambda: account.delete(key))
    assert account.action(key, "deactivate").state == "deactivating"
    key = account.reload(key)
    assert key.state == "inactive", key
    assert key.activate().state == "activating"
    key = account.reload(key)
    assert key.state == "active", key
    assert key.deactivate().state == "deactivating"
    assert account.delete(account.reload(key)).state == "removing"
    assert key.id not in [other.id for other in account.list_api_key()]
    assert account.by_id("apiKey", "1c999999") is None


for factory in (gdapi.Client, cattle.Client):
    for version in ("/v1", "/v2-beta"):
        for start in ("", "/", "/schemas"):
            assert client(factory, version + start, "").valid()
        account = client(factory, version, "")
        lifecycle(account)
        projects = list(account.list_project())
        assert [project.id for project in projects] == ["1a5"], projects
        assert account.by_id("project", "1a5").name == "Default"
        assert len(list(account.list_token())) == 1
        assert len(list(account.list_identity())) > 0
        # An owner makes the environment's keys; its keys only see it.
        for start in ("/projects/1a5", "/projects/1a5/", "/projects/1a5/schemas"):
            scoped = client(factory, version + start, "")
            lifecycle(scoped)
            assert [key.accountId for key in scoped.list_api_key()] == ["1a5"], "a project's URL leads to its keys"
            assert [project.id for project in scoped.list_project()] == ["1a5"]
            assert [account.kind for account in scoped.list_account()] == ["project"]
        environment = client(factory, version + "/projects/1a5", "ENVIRONMENT_")
        assert [project.id for project in environment.list_project()] == ["1a5"]
        assert not hasattr(environment, "create_api_key") and not hasattr(environment, "list_api_key"), "it manages no keys"
        refused(403, lambda: environment._post(f"{url}{version}/projects/1a5/apikeys", {"name": "more"}))
        try:
            client(factory, version + "/projects/1a6", "ENVIRONMENT_")
        except gdapi.ApiError as error:
            assert error.error.message == "Access denied", error.error
        else:
            raise AssertionError("an environment's key in another environment")

# Without keys this client sends the user None with the password None.
refused(401, lambda: gdapi.Client(url=url + "/v1", cache=False))
