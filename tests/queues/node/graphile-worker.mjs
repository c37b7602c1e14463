import { LATER_MS, library, perform, play, url } from './day.mjs'

const { makeWorkerUtils, run } = library('graphile-worker')

async function client (use) {
  const utils = await makeWorkerUtils({ connectionString: url })
  await use(utils)
  await utils.release()
}

await play({
  migrate: () => client(utils => utils.migrate()),

  put: jobs => client(async utils => {
    for (const { does, queue, later } of jobs) {
      await utils.addJob(queue, { does }, {
        ...(later && { runAt: new Date(Date.now() + LATER_MS) }),
        ...(does === 'fail' && { maxAttempts: 1 })
      })
    }
  }),

  work: () => run({
    connectionString: url,
    concurrency: 3,
    pollInterval: 500,
    taskList: { default: ({ does }) => perform(does) }
  })
})
