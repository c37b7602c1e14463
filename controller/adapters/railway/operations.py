"""All GraphQL documents that are sent to Railway. A test validates them against Railway's schema.

They are constants: values go in as variables only, so that no id or name from outside can change what is asked. Each
has a name of its own, by which faults of the fake and its record tell them apart.
"""

_INSTANCE = """{
          serviceId
          serviceName
          numReplicas
          region
          cronSchedule
          drainingSeconds
          latestDeployment { id status statusUpdatedAt createdAt deploymentStopped meta instances { id status } }
          activeDeployments { id status deploymentStopped meta instances { id status } }
        }"""

ENVIRONMENT_STATE = (
    """
query EnvironmentState($environmentId: String!, $projectId: String!, $first: Int, $after: String) {
  environment(id: $environmentId, projectId: $projectId) {
    id
    name
    serviceInstances(first: $first, after: $after) {
      edges {
        node """
    + _INSTANCE
    + """
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""
)

# Both in one query, because a change is computed from both and they must be of the same moment.
ENVIRONMENT_CONFIG = (
    """
query EnvironmentConfig($serviceId: String!, $environmentId: String!, $projectId: String!) {
  environment(id: $environmentId, projectId: $projectId) {
    id
    config(decryptVariables: false)
  }
  serviceInstance(serviceId: $serviceId, environmentId: $environmentId) """
    + _INSTANCE
    + """
}
"""
)

PAST_DEPLOYMENTS = """
query PastDeployments($input: DeploymentListInput!, $first: Int) {
  deployments(input: $input, first: $first) { edges { node { id status } } }
}
"""

SERVICE_INSTANCE_UPDATE = """
mutation ServiceInstanceUpdate($serviceId: String!, $environmentId: String!, $input: ServiceInstanceUpdateInput!) {
  serviceInstanceUpdate(serviceId: $serviceId, environmentId: $environmentId, input: $input)
}
"""

SERVICE_INSTANCE_DEPLOY = """
mutation ServiceInstanceDeployV2($serviceId: String!, $environmentId: String!) {
  serviceInstanceDeployV2(serviceId: $serviceId, environmentId: $environmentId)
}
"""

DEPLOYMENT_STOP = """
mutation DeploymentStop($id: String!) {
  deploymentStop(id: $id)
}
"""

DEPLOYMENT_RESTART = """
mutation DeploymentRestart($id: String!) {
  deploymentRestart(id: $id)
}
"""

# Sent by doctor only, so that a missing right or a changed schema does not affect `run`.

WHOSE_PROJECT = """
query ProjectToken {
  projectToken { projectId environmentId }
}
"""

ME = """
query Me {
  me { id }
}
"""

WHOSE_WORKSPACES = """
query ApiToken {
  apiToken { workspaces { id name } }
}
"""

PROJECT_PLAN = """
query ProjectPlan($id: String!) {
  project(id: $id) { name subscriptionType }
}
"""

REGIONS = """
query Regions($projectId: String) {
  regions(projectId: $projectId) {
    name
    deploymentConstraints { deprecationInfo { isDeprecated replacementRegion } }
  }
}
"""

SERVICE_CONFIG = """
query ServiceConfig($serviceId: String!, $environmentId: String!) {
  serviceInstance(serviceId: $serviceId, environmentId: $environmentId) {
    serviceName
    railwayConfigFile
    latestDeployment { meta }
  }
}
"""

ALL = {
    "EnvironmentState": ENVIRONMENT_STATE,
    "EnvironmentConfig": ENVIRONMENT_CONFIG,
    "PastDeployments": PAST_DEPLOYMENTS,
    "ServiceInstanceUpdate": SERVICE_INSTANCE_UPDATE,
    "ServiceInstanceDeployV2": SERVICE_INSTANCE_DEPLOY,
    "DeploymentStop": DEPLOYMENT_STOP,
    "DeploymentRestart": DEPLOYMENT_RESTART,
    "ProjectToken": WHOSE_PROJECT,
    "Me": ME,
    "ApiToken": WHOSE_WORKSPACES,
    "ProjectPlan": PROJECT_PLAN,
    "Regions": REGIONS,
    "ServiceConfig": SERVICE_CONFIG,
}
"""By operation name."""
