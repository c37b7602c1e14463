import { LATER_MS, library, perform, play, url } from './day.mjs'

const { PgBoss } = library('pg-boss')

async function client (use) {
  // Only a client: whatever runs by the clock belongs to the worker.
  const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false })
  await boss.start()
  await use(boss)
  await boss.stop()
}

await play({
  migrate: () => client(async boss => {
    await boss.createQueue('default', { notify: true })
    await boss.createQueue('other', { notify: true, partition: true }) // in a table of its own
  }),

  put: jobs => client(async boss => {
    for (const { does, queue, later } of jobs) {
      await boss.send(queue, { does }, {
        ...(later && { startAfter: new Date(Date.now() + LATER_MS) }),
        ...(does === 'fail' && { retryLimit: 0 })
      })
    }
  }),

  work: async () => {
    const boss = new PgBoss({ connectionString: url })
    boss.on('error', error => console.error(error))
    await boss.start()
    await boss.work('default', { localConcurrency: 3, pollingIntervalSeconds: 0.5 }, ([job]) => perform(job.data.does))
  }
})
