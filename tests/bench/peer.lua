-- The check as a script for Envoy's Lua filter does it. `keys` stands before this: key, account and environment by token.
function envoy_on_request(handle)
    local headers = handle:headers()
    local found = keys[headers:get("x-api-key") or ""]
    if not found then
        handle:respond({ [":status"] = "401", ["content-type"] = "application/json" },
            '{"details":"Unauthorized","message":"A valid authorization token is missing"}')
        return
    end
    if headers:get(":path"):match("^/v1/projects/([^/]+)/") ~= found[3] then
        handle:respond({ [":status"] = "403", ["content-type"] = "application/json" },
            '{"details":"Unauthorized","message":"Access denied"}')
        return
    end
    headers:remove("x-api-key")
    headers:remove("authorization")
    headers:replace("x-keygate-key", found[1])
    headers:replace("x-keygate-account", found[2])
    headers:replace("x-keygate-environment", found[3])
    headers:replace("x-keygate-access", "write")
end
