"""rancher_yarl against one URL: `yarl.py HOST create|deactivate|delete [ID]`, as alice. Its own assertions on states decide."""

import json
import os
import sys

from rancher_yarl.RancherAuthToken import RancherAuthToken

host, command, *arguments = sys.argv[1:]
client = RancherAuthToken(host, "alice", os.environ["PASSWORD"])
if command == "create":
    secret, access, key = client.generate_api_token("ci", "made by rancher_yarl")
    print(json.dumps({"access": access, "secret": secret, "id": key}))
elif command == "deactivate":
    client.deactivate_api_token(arguments[0])
elif command == "delete":
    client.delete_api_token(arguments[0])
else:
    sys.exit(f"there is no command {command}")
client.close_connection()
