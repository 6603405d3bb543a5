// Package preflight looks for everything that would make tonight's failover fail, and says for each finding what is, what
// should be, and what to do about it.
//
// A [Check] asks one thing of the deployment through a narrow interface: the term record, a region's control planes, the
// databases themselves. [Run] runs all of them at once, each with a time limit of its own, so a region that does not answer
// costs its own findings and hides nobody else's. What could not be found out is [Unknown], which is not a pass.
//
// Nothing is changed, with one exception that can be skipped: the check "canary" starts one task of the application in the
// standby region, outside its service, and stops it again. IAM permissions are asked of IAM's own simulator.
//
// # JSON
//
// The command's -o json is one object. Fields are only ever added:
//
//	{
//	  "deployment": "prod", "at": "2026-11-22T17:00:00Z",
//	  "active": "primary", "standby": "dr",       the roles that the checks went by; empty if the record could not be read
//	  "passed": false,                            true if no finding is "fail" or "unknown"
//	  "checks": [{
//	    "name": "replication",                    one of the names that --only and --skip take
//	    "protects": "…",                          what goes wrong in a failover without it
//	    "severity": "fail",                       the worst of its findings: ok, warn, unknown, fail
//	    "took_ms": 41,
//	    "findings": [{
//	      "severity": "fail", "subject": "site dr", "what": "replication lag",
//	      "current": "42s", "wanted": "at most 30s",
//	      "remedy": "…"                           empty for "ok"
//	    }]
//	  }],
//	  "skipped": [{"name": "terraform", "why": "…"}]
//	}
package preflight
