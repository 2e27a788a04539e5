-- What was done to an account as a member: the object is the environment then, and the detail says the account.
CREATE INDEX audit_member ON audit (detail ->> 'account') WHERE action IN ('member.put', 'member.remove');
